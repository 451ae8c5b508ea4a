;; Answers with a case that the interface does not have.
;;; answer access
(i32.store8 (i32.const 16) (i32.const 7)) i32.const 16
;;; answer device
(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 17) (i32.const 9)) i32.const 16
;;; answer template
(i32.store8 (i32.const 16) (i32.const 7)) i32.const 16
;;; answer auth-mode
(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 9)) i32.const 16
;;; answer filter
(i32.store8 (i32.const 16) (i32.const 9)) i32.const 16
;;; answer route
(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 9)) i32.const 16
