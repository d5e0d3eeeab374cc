import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * com.rabbitmq:amqp-client as it comes: it recovers its connection, its channel and its consumer by itself. The contract is
 * told in ../worker.ts.
 */
public final class Worker {
  private static final Pattern SEQ = Pattern.compile("\"seq\":(\\d+)");
  private static final int CONFIRM_TIMEOUT_MS = 60_000;

  private final String consumer;
  private final String instance = UUID.randomUUID().toString();
  private final Instant startedAt = Instant.now();
  private final List<Integer> list = new ArrayList<>();
  private final List<Integer> received = new ArrayList<>();
  private byte[] hash = new byte[32];
  private int redelivered;
  private int reconnects;

  private Worker(String consumer) {
    this.consumer = consumer;
  }

  private synchronized void take(int seq) {
    received.add(seq);
  }

  private synchronized void reconnected() {
    reconnects += 1;
  }

  /** Returns the output. */
  private synchronized String apply(int seq, Delivery delivery) throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    digest.update(hash);
    hash = digest.digest(delivery.getBody());
    list.add(seq);
    if (delivery.getEnvelope().isRedeliver()) redelivered += 1;
    return String.format(
        "{\"consumer\":\"%s\",\"seq\":%d,\"index\":%d,\"instance\":\"%s\"}", consumer, seq, list.size(), instance);
  }

  private synchronized String state() {
    return String.format(
        "{\"consumer\":\"%s\",\"instance\":\"%s\",\"startedAt\":\"%s\",\"count\":%d,\"hash\":\"%s\",\"last\":%s,"
            + "\"list\":%s,\"redelivered\":%d,\"received\":%s,\"reconnects\":%d,\"ticks\":0}",
        consumer,
        instance,
        startedAt,
        list.size(),
        HexFormat.of().formatHex(hash),
        list.isEmpty() ? "null" : list.get(list.size() - 1).toString(),
        list,
        redelivered,
        received,
        reconnects);
  }

  private void handle(Channel channel, String exchange, int workMs, Delivery delivery) throws Exception {
    Matcher found = SEQ.matcher(new String(delivery.getBody(), StandardCharsets.UTF_8));
    if (!found.find()) throw new IllegalArgumentException("a message without seq");
    int seq = Integer.parseInt(found.group(1));
    take(seq);
    Thread.sleep(workMs);
    byte[] output = apply(seq, delivery).getBytes(StandardCharsets.UTF_8);
    BasicProperties persistent = new BasicProperties.Builder().deliveryMode(2).build();
    do channel.basicPublish(exchange, "", persistent, output);
    while (!channel.waitForConfirms(CONFIRM_TIMEOUT_MS));
    channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
  }

  private void answer(HttpExchange exchange) throws IOException {
    byte[] body = state().getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("content-type", "application/json");
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }

  private static String setting(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }

  private static final class Counting implements RecoveryListener {
    private final Worker worker;

    private Counting(Worker worker) {
      this.worker = worker;
    }

    @Override
    public void handleRecoveryStarted(Recoverable connection) {
      System.out.println("connection lost");
    }

    @Override
    public void handleRecovery(Recoverable connection) {
      worker.reconnected();
    }
  }

  public static void main(String[] arguments) throws Exception {
    String topic = setting("TOPIC", "app");
    int workMs = Integer.parseInt(setting("WORK_MS", "5"));
    Worker worker = new Worker(InetAddress.getLocalHost().getHostName());

    ConnectionFactory factory = new ConnectionFactory();
    factory.setUri(setting("AMQP_URL", "amqp://localhost"));
    Connection connection = factory.newConnection();
    ((Recoverable) connection).addRecoveryListener(new Counting(worker));
    Channel channel = connection.createChannel();
    channel.confirmSelect();
    channel.basicQos(Integer.parseInt(setting("PREFETCH", "20")));
    channel.basicConsume(
        topic + ".in",
        false,
        (tag, delivery) -> {
          try {
            worker.handle(channel, topic + ".out", workMs, delivery);
          } catch (Exception error) {
            // The broker gives it again to the recovered consumer.
            System.out.println("not done: " + error);
          }
        },
        tag -> {
          System.out.println("consumer cancelled");
          System.exit(1);
        });

    // Not before it consumes: an answer says that it is ready.
    HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(setting("PORT", "8080"))), 0);
    server.createContext("/", worker::answer);
    server.start();
    System.out.println("consuming");
  }
}
