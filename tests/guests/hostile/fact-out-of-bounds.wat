;; Wants a fact written to where it has no memory: the trap is in the middle of the host's function.
;;; imports
(import "doorward:policy/connection@{version}" "client-address" (func $fact (param i32)))
;;; answer
(call $fact (i32.const 0x7ffffff0)) i32.const 16
