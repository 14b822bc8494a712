"""An office's own subscriber: every alert once, the oldest kept one first.

python subscriber.py 10.0.0.1:9092 water-office [topic]      (needs: pip install kafka-python lz4)

Where the brokers want an account, KafkaConsumer also takes security_protocol="SASL_SSL",
sasl_mechanism="SCRAM-SHA-512", sasl_plain_username, sasl_plain_password and ssl_cafile.
"""

import json
import sys

from kafka import KafkaConsumer

servers, office, topic = [*sys.argv[1:], "alerts"][:3]
seen = set()
with KafkaConsumer(topic, bootstrap_servers=servers.split(","), group_id=office,
                   auto_offset_reset="earliest", enable_auto_commit=False) as alerts:  # fmt: skip
    for record in alerts:
        message = json.loads(record.value)
        if message["schema"] == "alert/1" and message["id"] not in seen:
            alert = message["body"]  # and now your part:
            print(alert["level_name"], alert["place_name"], alert["sentence"], flush=True)
        seen.add(message["id"])
        alerts.commit()  # only now: what your part did not finish comes again
