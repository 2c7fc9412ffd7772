import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVStore;

/**
 * mongo-java-server on a file, for tests: {@code MongoWire PORT FILE}.
 *
 * <p>It claims the wire version of MongoDB 4.4, because drivers of today refuse what is older, and
 * writes its file before it answers a write, so that what was acknowledged is there after kill -9.
 */
public final class MongoWire extends H2Backend {
  private static final Set<String> WRITES =
      Set.of("insert", "update", "delete", "findAndModify", "findandmodify", "createIndexes");

  private static final MongoVersion CLAIMED =
      new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
          return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
          return 9;
        }
      };

  private MongoWire(MVStore store) {
    super(store);
  }

  @Override
  public Document handleMessage(MongoMessage message) {
    Document answer = super.handleMessage(message);
    if (WRITES.contains(message.getDocument().keySet().iterator().next())) {
      commit();
    }
    return answer;
  }

  public static void main(String[] args) {
    MVStore store =
        new MVStore.Builder().fileName(args[1]).autoCommitDisabled().cacheSize(16).open();
    MongoWire backend = new MongoWire(store);
    backend.version(CLAIMED);
    MongoServer server = new MongoServer(backend);
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    server.bind("127.0.0.1", Integer.parseInt(args[0]));
    System.out.println("listening on " + server.getLocalAddress());
  }
}
