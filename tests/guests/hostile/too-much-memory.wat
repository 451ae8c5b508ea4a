;; Wants 128 MiB from the start.
;;; fields
(memory $big 2000)
