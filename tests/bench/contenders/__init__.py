"""What the benchmark compares this program with: the same POST on other task queues, and on none.

Run by an environment of their own (`.venv-bench`), so they import nothing of the worker's. Where and with which key they
post is in the environment, under the worker's own names: MAILGUN_API_BASE_URL, MAILGUN_API_KEY, MAILGUN_LIST_ADDRESS, REDIS_URL.
"""
