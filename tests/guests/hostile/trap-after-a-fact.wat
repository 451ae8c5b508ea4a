;; Reads a fact, and traps.
;;; imports
(import "doorward:policy/connection@{version}" "client-address" (func $fact (param i32)))
;;; answer
(call $fact (i32.const 64)) unreachable
