"Where colour came from: hypercolumns, the residual encoder, and film in motion."
