"""The consumer of the evaluation in Python: pika's blocking connection, as the paper's. What it does is told in
../ms2m-consumer/main.ts."""
import collections
import datetime
import hashlib
import http.server
import json
import os
import signal
import socket
import threading
import time
import uuid

import pika

QUEUE = "app.events"
OUTPUTS = "app.outputs"

url = os.environ.get("AMQP_URL", "amqp://localhost")
prefetch = int(os.environ.get("PREFETCH", "50"))
work_seconds = float(os.environ.get("PROCESSING_DELAY_MS", "10")) / 1000
reconnect_seconds = float(os.environ.get("RECONNECT_MS", "3000")) / 1000


def pod_name():
    """A copy has another one."""
    return os.environ.get("POD_NAME") or socket.gethostname()


memory = {
    "consumer": pod_name(),
    "instance": str(uuid.uuid4()),
    "startedAt": datetime.datetime.now(datetime.timezone.utc).isoformat(),
    "count": 0,
    "hash": "00" * 32,
    "last": None,
    "list": [],
    "redelivered": 0,
    "connections": 0,
}
# One consistent picture for who asks while a message is applied.
applying = threading.Lock()
source = QUEUE


class Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with applying:
            told = memory if self.path == "/state" else {"processed": memory["count"], "last_seq": memory["last"]}
            body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # With Python's five, a pause of 60 ms loses some of those who ask each 10 ms.
    request_queue_size = 128


def say(why):
    print(json.dumps({"why": why}), flush=True)


def note(body):
    """Takes note of a control message; who consumes turns by it."""
    global source
    try:
        message = json.loads(body)
        kind = message.get("type")
        queue = (message.get("payload") or {}).get("queue")
    except (ValueError, AttributeError):
        kind = queue = None
    if kind == "END_REPLAY":
        source = QUEUE
    elif kind == "START_REPLAY" and queue:
        source = queue
    else:
        say("unknown control message")
        return
    say(kind)


def apply(message, redelivered):
    seq = json.loads(message)["seq"]
    with applying:
        memory["hash"] = hashlib.sha256(bytes.fromhex(memory["hash"]) + message).hexdigest()
        memory["list"].append(seq)
        memory["count"] += 1
        memory["last"] = seq
        memory["redelivered"] += 1 if redelivered else 0
    return {"consumer": memory["consumer"], "seq": seq, "index": memory["count"]}


def session():
    """Ends with the exception of what was lost."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    memory["connections"] += 1
    channel = connection.channel()
    channel.basic_qos(prefetch_count=prefetch)
    channel.queue_declare(QUEUE, durable=True)
    control = "ms2m.control." + pod_name()
    channel.queue_declare(control, durable=True)
    # A copy must not consume beside its source: what it was told comes before what it consumes.
    while True:
        method, _, body = channel.basic_get(control, auto_ack=True)
        if method is None:
            break
        note(body)
    orders = collections.deque()
    waiting = collections.deque()

    def obey(_channel, method, _properties, body):
        channel.basic_ack(method.delivery_tag)
        orders.append(body)

    channel.basic_consume(control, obey)

    def consume():
        def take(_channel, method, _properties, body):
            waiting.append((method, body))

        say("consuming " + source)
        return channel.basic_consume(source, take)

    tag = consume()
    while True:
        connection.process_data_events(time_limit=0 if waiting else 0.2)
        while orders:
            before = source
            note(orders.popleft())
            if source == before:
                continue
            # pika hands back what it has not handed over yet.
            channel.basic_cancel(tag)
            while waiting:
                channel.basic_nack(waiting.popleft()[0].delivery_tag, requeue=True)
            tag = consume()
        if waiting:
            method, body = waiting.popleft()
            time.sleep(work_seconds)
            output = apply(body, method.redelivered)
            channel.basic_publish(OUTPUTS, "", json.dumps(output).encode())
            channel.basic_ack(method.delivery_tag)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
port = int(os.environ.get("PORT", "8080"))
threading.Thread(target=Server(("0.0.0.0", port), Tell).serve_forever, daemon=True).start()
while True:
    try:
        session()
    except (pika.exceptions.AMQPError, OSError) as error:
        say("connection lost: " + repr(error))
    time.sleep(reconnect_seconds)
