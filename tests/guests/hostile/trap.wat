;; Traps.
;;; answer
unreachable
