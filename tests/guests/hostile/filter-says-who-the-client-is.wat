;; Sets a header that only Doorward may set, in another spelling.
;;; questions filter
;;; fields
(data (i32.const 2048) "X_Forwarded_For") (data (i32.const 2064) "10.0.0.1")
(data (i32.const 2112) "\00\08\00\00\0f\00\00\00\10\08\00\00\08\00\00\00")
;;; answer
(i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 2112)) (i32.store (i32.const 24) (i32.const 1)) i32.const 16
