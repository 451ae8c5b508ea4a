;; Asks for a header of another name each time.
;;; questions device template auth-mode filter route
;;; imports
(import "doorward:policy/request@{version}" "header" (func $fact (param i32 i32 i32)))
;;; fields
(data (i32.const 2048) "aaaa")
;;; answer
(loop
  (call $fact (i32.const 2048) (i32.const 4) (i32.const 3072))
  (i32.store8 (i32.const 2048) (i32.add (i32.const 97) (i32.rem_u (i32.add (i32.load8_u (i32.const 2048)) (i32.const 8)) (i32.const 26))))
  (if (i32.eq (i32.load8_u (i32.const 2048)) (i32.const 97))
    (then (i32.store8 (i32.const 2049) (i32.add (i32.load8_u (i32.const 2049)) (i32.const 1)))))
  (br 0))
unreachable
