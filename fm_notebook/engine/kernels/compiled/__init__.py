"""What lies between the products of a BERT layer, in C: built on the machine where it runs, done without where it cannot be."""
