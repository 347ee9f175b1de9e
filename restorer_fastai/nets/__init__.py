"The networks and the files that keep them."
