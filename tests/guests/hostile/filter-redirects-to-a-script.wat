;; Sends the browser to a script.
;;; questions filter
;;; fields
(data (i32.const 2048) "javascript:alert(1)")
;;; answer
(i32.store8 (i32.const 16) (i32.const 2)) (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 19)) i32.const 16
