package redisstore

// ACL are the two Redis users that a deployment needs, as lines of an ACL file
// (or of redis.conf) but for their passwords, which follow the name as ">…".
//
// The edge's is enough to decide requests: it reads states, watches, and writes
// nothing but its own watcher's probes; it sees no ledger. The API's writes, and
// decides requests too. CLUSTER is for clusters only.
const ACL = `user consent-edge on resetkeys resetchannels -@all +hello +auth +ping +select +client|setname +client|tracking +subscribe +unsubscribe +hgetall +cluster|slots +readonly %R~consent:{*}:state &consent:changed &consent:probe:* (+set ~consent:probe:*) (+publish &consent:probe:*)
user consent-api on resetkeys resetchannels -@all +hello +auth +ping +select +client|setname +client|tracking +subscribe +unsubscribe +hgetall +hmget +hset +del +xadd +xrange +zadd +zscore +zremrangebyrank +pexpire +eval +evalsha +publish +set +wait +cluster|slots +readonly ~consent:* &consent:*
`
