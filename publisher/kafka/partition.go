package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// partitioner assigns a record with a key to the partition that the Java client would choose (murmur2). Records without a key go to partition 0,
// because their order matters, too.
func partitioner() kgo.Partitioner {
	byKey := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		murmur2 := byKey.ForTopic(topic)
		return func(r *kgo.Record, partitions int) int {
			if r.Partition < 0 {
				return int(^r.Partition) // see inPartition
			}
			if r.Key == nil {
				return 0
			}
			return murmur2.Partition(r, partitions)
		}
	})
}

// inPartition marks a record for a partition, independently of its key; with the zero value of kgo.Record.Partition the key decides.
func inPartition(partition int) int32 { return ^int32(partition) }
