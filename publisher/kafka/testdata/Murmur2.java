import java.util.zip.CRC32;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/**
 * Writes murmur2.golden: for each length of keys the CRC-32 of the partitions, as bytes, that the Java client
 * chooses for KEYS keys of that length. partition_test.go makes the same keys.
 *
 * java -cp "$HOME/.cache/pgtee/kafka-4.1.0/*" Murmur2.java > murmur2.golden
 */
public class Murmur2 {
    static final int LENGTHS = 1024, KEYS = 128;
    static final int[] COUNTS = {1, 2, 3, 7, 12, 251};

    static long state = 1;

    static byte random() {
        state = state * 6364136223846793005L + 1442695040888963407L;
        return (byte) (state >>> 56);
    }

    public static void main(String[] args) {
        for (int length = 0; length < LENGTHS; length++) {
            CRC32 sum = new CRC32();
            for (int i = 0; i < KEYS; i++) {
                byte[] key = new byte[length];
                for (int j = 0; j < length; j++) {
                    key[j] = random();
                }
                for (int count : COUNTS) {
                    sum.update(BuiltInPartitioner.partitionForKey(key, count));
                }
            }
            System.out.printf("%d %08x%n", length, sum.getValue());
        }
    }
}
