;; Never comes to the end of its start function.
;;; fields
(func $forever (loop (br 0)))
(start $forever)
