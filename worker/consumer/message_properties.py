"""Properties of a kombu message in which the transport keeps what it knows of the message.

They end with the message, however it ends. A table on the channel would have to be cleared on each
of the ways on which kombu, Celery and the batch consumer let go of a message.
"""

MESSAGE_PROPERTY = "signal_message"  # the `Message`, as it was read
WEIGHT_PROPERTY = "signal_weight"  # its `Weight`
CHARGED_PROPERTY = "signal_charged"  # how many of its events the gate charged
