;; Asks for memory for ever.
;;; answer
(loop (drop (memory.grow (i32.const 64))) (br 0)) unreachable
