"""Figures and tables from arrays and files, without a framework. Nothing here needs a display.

    learning_curves   metrics.csv → loss, the task's metric, learning rate
    confusion_matrix  what was taken for what
    class_scores      precision, recall and F1 of each class or label
    calibration       how often the network is right where it is so sure
    regression        predicted against true values, residuals
    pictures          sample predictions, worst mistakes, predictions of new files: of classes,
    label_pictures    of several labels,
    value_pictures    and of numbers; picture_grid draws all three
    run_figures       all of these for one split, by task
    tables            the same for the terminal; headline is one line of it
    prediction_table  predictions of new files as CSV and JSON

Each figure function returns the path that it wrote and raises OutputError where it can't write. matplotlib is imported
by the modules that draw, not by this package or by `tables`.
"""
