"""Work over more pictures than one machine takes, on Ray Data: what schedules, queues and sends tasks is Ray."""
