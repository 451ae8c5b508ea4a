;; Answers with a text of two kilobytes, where one is allowed (of a filter: a redirect to what is no URL).
;;; questions access template auth-mode filter route
;;; answer access
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 2048)) i32.const 16
;;; answer template
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 2048)) i32.const 16
;;; answer auth-mode
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 3)) (i32.store (i32.const 24) (i32.const 2048)) (i32.store (i32.const 28) (i32.const 2048)) i32.const 16
;;; answer filter
 (i32.store8 (i32.const 16) (i32.const 2)) (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 2048)) i32.const 16
;;; answer route
 (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1)) (i32.store (i32.const 24) (i32.const 2048)) (i32.store (i32.const 28) (i32.const 2048)) i32.const 16
