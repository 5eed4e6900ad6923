#!/usr/bin/env python3
"""Reads topics of Avro records as people do: by Confluent's own client, with the schemas from the registry.

    avro_consumer.py BROKER REGISTRY TOPIC...

Prints one line of JSON per committed record, in the order of its partition: topic, schema ids, key and value.
Both stand there in the JSON of Kafka Connect: bytes and decimals in base64, NaN and the infinities as strings.
"""

import base64
import json
import math
import struct
import sys
from decimal import Decimal

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from consumer import follow


def connect(value):
    """A value that the Avro library returned, as Kafka Connect writes it in JSON."""
    if isinstance(value, dict):
        return {name: connect(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [connect(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return base64.b64encode(unscaled(value)).decode()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def unscaled(value):
    """The digits of a decimal as the fewest bytes of a two's complement."""
    sign, digits, _ = value.as_tuple()
    number = int("".join(map(str, digits))) * (-1 if sign else 1)
    bits = (number if number >= 0 else ~number).bit_length()
    return number.to_bytes(bits // 8 + 1, "big", signed=True)


def schema_id(data):
    return struct.unpack(">bI", data[:5])[1] if data else None


def main(broker, registry, *topics):
    read = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    for message in follow(broker, list(topics)):
        topic, key, value = message.topic(), message.key(), message.value()
        print(json.dumps({
            "topic": topic,
            "keyId": schema_id(key),
            "valueId": schema_id(value),
            "key": connect(read(key, SerializationContext(topic, MessageField.KEY))),
            "value": connect(read(value, SerializationContext(topic, MessageField.VALUE))),
        }))


if __name__ == "__main__":
    main(*sys.argv[1:])
