;; Traps when it gets its settings.
;;; configure
unreachable
