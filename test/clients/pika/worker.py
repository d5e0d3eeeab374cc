"""pika's blocking connection: the same thread consumes, publishes and heartbeats; it does not reconnect.
The contract is told in ../worker.ts."""
import datetime
import hashlib
import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid

import pika

topic = os.environ["TOPIC"]
work_seconds = float(os.environ.get("WORK_MS", "5")) / 1000
name = socket.gethostname()
memory = {
    "consumer": name,
    "instance": str(uuid.uuid4()),
    "startedAt": datetime.datetime.now(datetime.timezone.utc).isoformat(),
    "count": 0,
    "hash": "00" * 32,
    "last": None,
    "list": [],
    "redelivered": 0,
    "received": [],
    "reconnects": 0,
    "ticks": 0,
}


class Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(memory).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def publish(channel, body):
    # With confirms on, a blocking channel returns once the broker has it, and raises if it refuses.
    while True:
        try:
            channel.basic_publish(topic + ".out", "", body, pika.BasicProperties(delivery_mode=2))
            return
        except pika.exceptions.NackError:
            print("published again", flush=True)


def handle(channel, method, _properties, body):
    seq = json.loads(body)["seq"]
    memory["received"].append(seq)
    time.sleep(work_seconds)
    memory["hash"] = hashlib.sha256(bytes.fromhex(memory["hash"]) + body).hexdigest()
    memory["list"].append(seq)
    memory["count"] += 1
    memory["last"] = seq
    memory["redelivered"] += 1 if method.redelivered else 0
    output = {"consumer": name, "seq": seq, "index": memory["count"], "instance": memory["instance"]}
    publish(channel, json.dumps(output).encode())
    channel.basic_ack(method.delivery_tag)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
channel.basic_qos(prefetch_count=int(os.environ.get("PREFETCH", "20")))
channel.basic_consume(topic + ".in", handle)
# Not before it consumes: an answer says that it is ready.
port = int(os.environ.get("PORT", "8080"))
threading.Thread(target=http.server.ThreadingHTTPServer(("0.0.0.0", port), Tell).serve_forever, daemon=True).start()
print("consuming", flush=True)
try:
    channel.start_consuming()
except pika.exceptions.AMQPError as error:
    print("connection lost:", repr(error), flush=True)
sys.exit(1)
