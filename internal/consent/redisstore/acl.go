package redisstore

// ACL are the Redis users of a deployment, as lines of an ACL file (or of
// redis.conf) but for their passwords, which follow the name as ">…".
//
// The edge's is enough to decide requests: it reads states, watches, and writes
// nothing but its own watcher's probes; it sees no ledger. It checks the root
// secret, and leaves it to the API's to write the check value. The API's writes,
// and decides requests too. CLUSTER is for clusters only.
//
// A gateway that forwards to partners is consent-forward: the edge, with
// [ACLOutbox] and [ACLKAnonymity]. One that does all of it is consent-api with
// those two rights added.
const ACL = "user consent-edge " + aclEdge + `
user consent-api on resetkeys resetchannels -@all +hello +auth +ping +select +client|setname +client|tracking +subscribe +unsubscribe +hgetall +get +hmget +hset +del +xadd +xrange +zadd +zscore +zremrangebyrank +pexpire +eval +evalsha +publish +set +wait +cluster|slots +readonly ~consent:* &consent:*
user consent-forward ` + aclEdge + " " + ACLOutbox + " " + ACLKAnonymity + "\n"

const aclEdge = "on resetkeys resetchannels -@all +hello +auth +ping +select +client|setname +client|tracking +subscribe +unsubscribe +hgetall +get +cluster|slots +readonly %R~consent:{*}:state %R~consent:check &consent:changed &consent:probe:* (+set ~consent:probe:*) (+publish &consent:probe:*)"

// ACLOutbox is what a user may beyond its other rights who keeps the outbox, as
// one selector: these commands on the outbox's keys, and none of them elsewhere.
const ACLOutbox = "(+eval +evalsha +wait +get +set +del +pexpire +hget +hmget +hset +hincrby +xadd +xlen +xrange +xrevrange +xdel +xtrim +xack +xpending +xread +xreadgroup +xgroup|create ~consent:outbox:*)"

// ACLKAnonymity is likewise what a user may who counts the combinations that a
// policy with k_anonymity holds back. Where no recipient asks for it, it can be
// left out.
const ACLKAnonymity = "(+eval +evalsha +time +pexpire +zadd +zcard +zremrangebyrank +zremrangebyscore ~consent:kanon:*)"
