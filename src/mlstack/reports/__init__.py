"""Figures and tables from arrays and files, without a framework. Nothing here needs a display.

    learning_curves   metrics.csv → loss, accuracy, learning rate
    confusion_matrix  what was taken for what
    class_scores      precision, recall and F1 of each class
    pictures          sample predictions, worst mistakes, predictions of new files
    tables            the same for the terminal

Each figure function returns the path that it wrote and raises OutputError where it can't write. matplotlib is imported
by the modules that draw, not by this package or by `tables`.
"""
