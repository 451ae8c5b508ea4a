;; Answers with a status that is none.
;;; questions filter
;;; answer
(i32.store8 (i32.const 16) (i32.const 3)) (i32.store16 (i32.const 20) (i32.const 99)) i32.const 16
