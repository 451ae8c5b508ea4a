;; Answers with four megabytes of text.
;;; questions access template auth-mode filter route
;;; answer access
(drop (memory.grow (i32.const 100))) (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 0)) (i32.store (i32.const 24) (i32.const 0x400000)) i32.const 16
;;; answer template
(drop (memory.grow (i32.const 100))) (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 0)) (i32.store (i32.const 24) (i32.const 0x400000)) i32.const 16
;;; answer auth-mode
(drop (memory.grow (i32.const 100))) (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 3)) (i32.store (i32.const 24) (i32.const 0)) (i32.store (i32.const 28) (i32.const 0x400000)) i32.const 16
;;; answer filter
(drop (memory.grow (i32.const 100))) (i32.store8 (i32.const 16) (i32.const 2)) (i32.store (i32.const 20) (i32.const 0)) (i32.store (i32.const 24) (i32.const 0x400000)) i32.const 16
;;; answer route
(drop (memory.grow (i32.const 100))) (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1)) (i32.store (i32.const 24) (i32.const 0)) (i32.store (i32.const 28) (i32.const 0x400000)) i32.const 16
