"""`gearmand-py import`: from queues that a C gearmand has written, and from tables with all that may be in one."""
