# pragma version 0.4.3
# pragma evm-version shanghai
# pragma optimize gas
"""
@title AttestationRegistry
@license MIT
@notice Says of a picture's SHA-256 which creator's key signs it, who has published that and when, once and for ever.
@dev A Groth16 proof over BN254 is verified here through the precompiles. Its public inputs are, in this order: the
     commitment to the creator's key, the high 128 bits of the digest, its low 128 bits, and the address that publishes.
     The last is msg.sender, so that a proof seen in the mempool is of no use to anybody else. The digest is: who sees
     it there and has the proving key can prove it with a key of their own, and be first with that.
     G2 points stand in the order of the EVM: the imaginary part first.
"""

struct VerifyingKey:
    alpha1: uint256[2]
    beta2: uint256[2][2]
    gamma2: uint256[2][2]
    delta2: uint256[2][2]
    ic: uint256[2][5]

struct Record:
    commitment: uint256
    submitter: address
    time: uint256
    proof_digest: bytes32
    is_verified_on_chain: bool

# What is stored of a record: three words instead of five, for storage is most of what a record costs.
struct Packed:
    commitment: uint256
    proof_digest: bytes32
    facts: uint256  # submitter in bits 0-159, time in 160-223, is_verified_on_chain in 224

event Attested:
    digest: indexed(bytes32)
    submitter: indexed(address)
    commitment: uint256
    is_verified_on_chain: bool
    proof_digest: bytes32
    time: uint256

BASE_FIELD: constant(uint256) = 21888242871839275222246405745257275088696311157297823662689037894645226208583
SCALAR_FIELD: constant(uint256) = 21888242871839275222246405745257275088548364400416034343698204186575808495617

ECADD: constant(address) = 0x0000000000000000000000000000000000000006
ECMUL: constant(address) = 0x0000000000000000000000000000000000000007
ECPAIRING: constant(address) = 0x0000000000000000000000000000000000000008

KEY: immutable(VerifyingKey)
verifying_key_digest: public(immutable(bytes32))
operator: public(immutable(address))

records: HashMap[bytes32, Packed]


@deploy
def __init__(key: VerifyingKey, key_digest: bytes32):
    """
    @param key_digest SHA-256 of the key as the platform that makes the proofs writes it.
    """
    KEY = key
    verifying_key_digest = key_digest
    operator = msg.sender


@external
def attest(digest: bytes32, commitment: uint256, a: uint256[2], b: uint256[2][2], c: uint256[2]):
    """
    @notice Record the digest for the sender. Reverts unless the proof is one of this statement.
    """
    self._refuse_unrecordable(digest, commitment)
    halves: uint256 = convert(digest, uint256)
    inputs: uint256[4] = [
        commitment, halves >> 128, halves & (2**128 - 1), convert(msg.sender, uint256)
    ]
    self._refuse_unproved(inputs, a, b, c)
    self._write(digest, commitment, sha256(abi_encode(a, b, c)), True)


@external
def record(digest: bytes32, commitment: uint256, proof_digest: bytes32):
    """
    @notice Record a digest whose proof the operator has verified off chain; the record says so.
    @dev Nobody else may: without a proof, anybody could take any digest.
    """
    assert msg.sender == operator, "not the operator"
    self._refuse_unrecordable(digest, commitment)
    self._write(digest, commitment, proof_digest, False)


@external
@view
def record_of(digest: bytes32) -> Record:
    """
    @return All zero where there is none; proof_digest is the SHA-256 of a, b and c where the contract has verified them.
    """
    packed: Packed = self.records[digest]
    return Record(
        commitment=packed.commitment,
        submitter=convert(packed.facts & (2**160 - 1), address),
        time=(packed.facts >> 160) & (2**64 - 1),
        proof_digest=packed.proof_digest,
        is_verified_on_chain=(packed.facts >> 224) == 1,
    )


@external
@view
def is_registered(digest: bytes32) -> bool:
    return self.records[digest].facts != 0


@external
@view
def verifying_key() -> VerifyingKey:
    return KEY


@internal
@view
def _refuse_unrecordable(digest: bytes32, commitment: uint256):
    assert digest != empty(bytes32), "zero digest"
    assert self.records[digest].facts == 0, "already registered"
    assert commitment < SCALAR_FIELD, "commitment out of range"


@internal
@view
def _refuse_unproved(inputs: uint256[4], a: uint256[2], b: uint256[2][2], c: uint256[2]):
    # e(-A, B) * e(alpha, beta) * e(sum, gamma) * e(C, delta) == 1
    assert a[1] < BASE_FIELD, "bad point"
    total: uint256[2] = KEY.ic[0]
    for i: uint256 in range(4):
        total = self._add(total, self._multiply(KEY.ic[i + 1], inputs[i]))
    negative_a: uint256[2] = [a[0], BASE_FIELD - a[1]]
    ok: bool = False
    answer: Bytes[32] = b""
    ok, answer = raw_call(
        ECPAIRING,
        abi_encode(
            negative_a, b,
            KEY.alpha1, KEY.beta2,
            total, KEY.gamma2,
            c, KEY.delta2,
        ),
        max_outsize=32,
        is_static_call=True,
        revert_on_failure=False,
    )
    assert ok and len(answer) == 32, "bad point"
    assert abi_decode(answer, uint256) == 1, "bad proof"


@internal
def _write(digest: bytes32, commitment: uint256, proof_digest: bytes32, is_verified_on_chain: bool):
    self.records[digest] = Packed(
        commitment=commitment,
        proof_digest=proof_digest,
        facts=convert(msg.sender, uint256)
            | (block.timestamp << 160)
            | (convert(is_verified_on_chain, uint256) << 224),
    )
    log Attested(
        digest=digest,
        submitter=msg.sender,
        commitment=commitment,
        is_verified_on_chain=is_verified_on_chain,
        proof_digest=proof_digest,
        time=block.timestamp,
    )


@internal
@view
def _add(p: uint256[2], q: uint256[2]) -> uint256[2]:
    return self._ask(ECADD, abi_encode(p, q))


@internal
@view
def _multiply(p: uint256[2], factor: uint256) -> uint256[2]:
    return self._ask(ECMUL, abi_encode(p, factor))


@internal
@view
def _ask(precompile: address, question: Bytes[128]) -> uint256[2]:
    ok: bool = False
    answer: Bytes[64] = b""
    ok, answer = raw_call(
        precompile, question, max_outsize=64, is_static_call=True, revert_on_failure=False
    )
    assert ok and len(answer) == 64, "bad point"
    return abi_decode(answer, uint256[2])
