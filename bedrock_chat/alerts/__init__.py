"""What is wrong and somebody should mend: found by conditions that apps register, shown in the console, sent out."""
