"Metrics, tasks, tables, the benchmark."
