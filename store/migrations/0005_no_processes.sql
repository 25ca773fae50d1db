-- Nobody wrote it: which processes live their lock files tell.

DROP TABLE processes;
