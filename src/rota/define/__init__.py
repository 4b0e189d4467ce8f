"""What users declare: jobs, rosters, schedules, policies, outcomes.

Always true: everything here is pure; nothing opens a file, a socket or a database, or asks what time it is.

Not here: what is done with the declarations (turn, store, engine).
"""
