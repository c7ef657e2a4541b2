package main

// CronJobs name time zones, which the machine may not know: the executable has them with it.
import _ "time/tzdata"
