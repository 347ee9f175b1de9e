"Photos become a data set, and batches."
