;; Never comes to the end of taking its settings.
;;; configure
(loop (br 0)) unreachable
