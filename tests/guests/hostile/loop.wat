;; Never comes to an answer.
;;; answer
(loop (br 0)) unreachable
