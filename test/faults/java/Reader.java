// Reads every topic of a prefix with the Java client, read_committed, and prints one JSON object a line:
// {"kind":"dir"}: where a broker keeps its segment files; {"kind":"end"}: a partition's offsets under both isolation
// levels; {"kind":"record"}: a committed record. Bytes are base64, so that no text needs escaping. What the third
// argument names (<topic>/<partition>@<offset>,…) is passed over unopened: each of them is a batch of its own.
import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Reader {
  private static final Duration POLL = Duration.ofMillis(500);
  private static final long QUIET_MS = 30_000;

  private static final PrintStream out =
      new PrintStream(
          new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 20),
          false,
          StandardCharsets.UTF_8);

  public static void main(String[] args) throws Exception {
    System.setOut(System.err); // the log of the client must not get between the lines
    Properties properties = new Properties();
    properties.put("bootstrap.servers", args[0]);
    properties.put("isolation.level", "read_committed");
    properties.put("enable.auto.commit", "false");
    properties.put("auto.offset.reset", "none");
    properties.put("max.poll.records", "5000");
    Map<TopicPartition, Set<Long>> unopened = unopened(args.length > 2 ? args[2] : "");
    Map<TopicPartition, Long> stable;
    Map<TopicPartition, Long> low;
    try (Admin admin = Admin.create(properties)) {
      printDirs(admin);
      List<TopicPartition> partitions = partitionsOf(admin, args[1]);
      low = offsets(admin, partitions, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED);
      Map<TopicPartition, Long> end =
          offsets(admin, partitions, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED);
      stable = offsets(admin, partitions, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED);
      for (TopicPartition one : partitions)
        out.println(
            "{\"kind\":\"end\"," + place(one) + ",\"low\":" + low.get(one)
                + ",\"end\":" + end.get(one) + ",\"lastStable\":" + stable.get(one) + "}");
    }
    var bytes = new ByteArrayDeserializer();
    Map<TopicPartition, Long> others = new HashMap<>(stable);
    others.keySet().removeAll(unopened.keySet());
    stable.keySet().retainAll(unopened.keySet());
    try (var consumer = new KafkaConsumer<byte[], byte[]>(properties, bytes, bytes)) {
      read(consumer, low, others, unopened);
    }
    // One record at a time: the next batch is opened when its first record is asked for.
    properties.put("max.poll.records", "1");
    try (var consumer = new KafkaConsumer<byte[], byte[]>(properties, bytes, bytes)) {
      read(consumer, low, stable, unopened);
    }
    out.println("{\"kind\":\"done\"}");
    out.flush();
  }

  /** Until every partition's position has passed its last stable offset: markers and aborted records included. */
  private static void read(
      KafkaConsumer<byte[], byte[]> consumer,
      Map<TopicPartition, Long> low,
      Map<TopicPartition, Long> stable,
      Map<TopicPartition, Set<Long>> unopened) {
    Map<TopicPartition, Long> left = new HashMap<>(stable);
    left.entrySet().removeIf(entry -> entry.getValue() <= low.get(entry.getKey()));
    consumer.assign(left.keySet());
    left.keySet().forEach(one -> consumer.seek(one, low.get(one)));
    long movedAt = System.nanoTime();
    while (!left.isEmpty()) {
      for (TopicPartition one : left.keySet())
        while (unopened.getOrDefault(one, Set.of()).contains(consumer.position(one)))
          consumer.seek(one, consumer.position(one) + 1);
      if (passed(consumer, left)) continue;
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
        print(record);
        movedAt = System.nanoTime();
      }
      if (passed(consumer, left)) movedAt = System.nanoTime();
      if ((System.nanoTime() - movedAt) / 1_000_000 > QUIET_MS)
        throw new IllegalStateException("nothing came for 30 s; unread: " + left);
    }
  }

  /** Whether some partition is read to its end; it is then no longer asked for. */
  private static boolean passed(
      KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, Long> left) {
    boolean some = left.entrySet().removeIf(one -> consumer.position(one.getKey()) >= one.getValue());
    if (some) consumer.assign(left.keySet());
    return some;
  }

  private static Map<TopicPartition, Set<Long>> unopened(String places) {
    Map<TopicPartition, Set<Long>> found = new HashMap<>();
    for (String place : places.split(",")) {
      if (place.isEmpty()) continue;
      int slash = place.lastIndexOf('/');
      int at = place.lastIndexOf('@');
      int partition = Integer.parseInt(place.substring(slash + 1, at));
      found
          .computeIfAbsent(
              new TopicPartition(place.substring(0, slash), partition), one -> new HashSet<>())
          .add(Long.parseLong(place.substring(at + 1)));
    }
    return found;
  }

  private static void print(ConsumerRecord<byte[], byte[]> record) {
    Map<String, Header> last = new LinkedHashMap<>();
    for (Header header : record.headers()) last.put(header.key(), header);
    String headers =
        last.values().stream()
            .map(one -> text(one.key().getBytes(StandardCharsets.UTF_8)) + ":" + text(one.value()))
            .collect(Collectors.joining(",", "{", "}"));
    out.println(
        "{\"kind\":\"record\"," + place(new TopicPartition(record.topic(), record.partition()))
            + ",\"offset\":" + record.offset() + ",\"timestampMs\":" + record.timestamp()
            + ",\"key\":" + text(record.key()) + ",\"value\":" + text(record.value())
            + ",\"headers\":" + headers + "}");
  }

  private static String place(TopicPartition one) {
    return "\"topic\":\"" + one.topic() + "\",\"partition\":" + one.partition();
  }

  private static String text(byte[] bytes) {
    return bytes == null ? "null" : '"' + Base64.getEncoder().encodeToString(bytes) + '"';
  }

  private static void printDirs(Admin admin) throws Exception {
    List<Integer> brokers = admin.describeCluster().nodes().get().stream().map(Node::id).toList();
    for (var broker : admin.describeLogDirs(brokers).allDescriptions().get().entrySet())
      for (String dir : broker.getValue().keySet())
        out.println(
            "{\"kind\":\"dir\",\"broker\":" + broker.getKey()
                + ",\"path\":" + text(dir.getBytes(StandardCharsets.UTF_8)) + "}");
  }

  private static List<TopicPartition> partitionsOf(Admin admin, String prefix) throws Exception {
    var names =
        admin.listTopics().names().get().stream()
            .filter(name -> name.startsWith(prefix))
            .collect(Collectors.toCollection(TreeSet::new));
    return admin.describeTopics(names).allTopicNames().get().values().stream()
        .flatMap(
            topic ->
                topic.partitions().stream()
                    .map(one -> new TopicPartition(topic.name(), one.partition())))
        .toList();
  }

  private static Map<TopicPartition, Long> offsets(
      Admin admin, List<TopicPartition> partitions, OffsetSpec spec, IsolationLevel level)
      throws Exception {
    var asked = partitions.stream().collect(Collectors.toMap(one -> one, one -> spec));
    return admin.listOffsets(asked, new ListOffsetsOptions(level)).all().get().entrySet().stream()
        .collect(Collectors.toMap(Map.Entry::getKey, one -> one.getValue().offset()));
  }
}
