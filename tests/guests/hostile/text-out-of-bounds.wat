;; Answers with a text that is not in its memory.
;;; questions access template auth-mode filter route
;;; answer access
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 0xffff0000)) (i32.store (i32.const 24) (i32.const 8)) i32.const 16
;;; answer template
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 0xffff0000)) (i32.store (i32.const 24) (i32.const 8)) i32.const 16
;;; answer auth-mode
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 3)) (i32.store (i32.const 24) (i32.const 0xffff0000)) (i32.store (i32.const 28) (i32.const 8)) i32.const 16
;;; answer filter
 (i32.store8 (i32.const 16) (i32.const 2)) (i32.store (i32.const 20) (i32.const 0xffff0000)) (i32.store (i32.const 24) (i32.const 8)) i32.const 16
;;; answer route
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1)) (i32.store (i32.const 24) (i32.const 0xffff0000)) (i32.store (i32.const 28) (i32.const 8)) i32.const 16
