package redisstore

// ACL are the two Redis users that a deployment needs, as lines of an ACL file
// (or of redis.conf) but for their passwords, which follow the name as ">…".
//
// The edge's is enough to decide requests: it reads states, watches, and writes
// nothing but its own watcher's probes; it sees no ledger. It checks the root
// secret, and leaves it to the API's to write the check value. The API's writes, and
// decides requests too. CLUSTER is for clusters only.
const ACL = `user consent-edge on resetkeys resetchannels -@all +hello +auth +ping +select +client|setname +client|tracking +subscribe +unsubscribe +hgetall +get +cluster|slots +readonly %R~consent:{*}:state %R~consent:check &consent:changed &consent:probe:* (+set ~consent:probe:*) (+publish &consent:probe:*)
user consent-api on resetkeys resetchannels -@all +hello +auth +ping +select +client|setname +client|tracking +subscribe +unsubscribe +hgetall +get +hmget +hset +del +xadd +xrange +zadd +zscore +zremrangebyrank +pexpire +eval +evalsha +publish +set +wait +cluster|slots +readonly ~consent:* &consent:*
`
