"""An office's own subscriber: every alert once, the oldest kept one first.

python subscriber.py 10.0.0.1:9092 water-office [topic]      (needs: pip install kafka-python lz4)
"""

import json
import sys

from kafka import KafkaConsumer

servers, office, topic = [*sys.argv[1:], "alerts"][:3]
alerts = KafkaConsumer(topic, bootstrap_servers=servers.split(","), group_id=office,
                       auto_offset_reset="earliest", enable_auto_commit=False)  # fmt: skip
seen = set()
for record in alerts:
    message = json.loads(record.value)
    alert = message["body"]
    if message["schema"] == "alert/1" and message["id"] not in seen:
        print(alert["level_name"], alert["place_name"], alert["sentence"], flush=True)  # your part
    seen.add(message["id"])
    alerts.commit()  # only now: what your part did not finish comes again
