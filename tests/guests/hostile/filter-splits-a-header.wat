;; Sets a header with a line break in it.
;;; questions filter
;;; fields
(data (i32.const 2048) "x-a") (data (i32.const 2064) "1\0d\0ax-forged: 1")
(data (i32.const 2112) "\00\08\00\00\03\00\00\00\10\08\00\00\10\00\00\00")
;;; answer
(i32.store8 (i32.const 16) (i32.const 1)) (i32.store (i32.const 20) (i32.const 2112)) (i32.store (i32.const 24) (i32.const 1)) i32.const 16
