#!/usr/bin/env python3
"""A consumer as people write them: it follows topics of Debezium's records in a consumer group and
keeps a copy of each table in memory.

    consumer.py BROKER TOPIC...

At the end of the partitions it prints one line of JSON per topic: how many records it saw, and the rows.
"""

import json
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition


class Table:
    def __init__(self):
        self.records = 0
        self.rows = {}

    def apply(self, key, value):
        self.records += 1
        event = json.loads(value) if value is not None else {"op": "d"}
        if event["op"] == "d":
            self.rows.pop(key, None)
        else:
            self.rows[key] = event["after"]


def follow(broker, topics):
    """Yields the committed records of topics, at least up to what is the end of each partition now."""
    consumer = Consumer({
        "bootstrap.servers": broker,
        "group.id": "consumer.py",
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    ends = {}
    for topic, description in consumer.list_topics(timeout=10).topics.items():
        for partition in description.partitions if topic in topics else ():
            ends[topic, partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
    consumer.subscribe(topics)
    while ends:
        message = consumer.poll(30)
        if message is None:
            sys.exit(f"nothing came for 30 s; not at the end of {sorted(ends)}")
        place = message.topic(), message.partition()
        if message.error() is None:
            yield message
        elif message.error().code() != KafkaError._PARTITION_EOF:
            raise KafkaException(message.error())
        if message.offset() >= ends.get(place, 0):
            ends.pop(place, None)
    consumer.close()


def main(broker, *topics):
    tables = {topic: Table() for topic in topics}
    for message in follow(broker, list(topics)):
        tables[message.topic()].apply(message.key(), message.value())
    for topic, table in tables.items():
        print(json.dumps({"topic": topic, "records": table.records, "rows": list(table.rows.values())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
