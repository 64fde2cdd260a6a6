"""The other programs of the benchmark: the same POST on other task queues, and without a queue.

They run in an environment of their own (`.venv-bench`), so they import nothing of the worker's. The
environment names where and with which key they post, as for the worker: MAILGUN_API_BASE_URL,
MAILGUN_API_KEY, MAILGUN_LIST_ADDRESS, REDIS_URL.
"""
