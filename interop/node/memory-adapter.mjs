// An in-memory adapter of oidc-provider. Unlike the built-in one, it keeps its data when a new Provider is created.

const payloads = new Map();

export class MemoryAdapter {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload, expiresIn) {
    payloads.set(this.key(id), { ...payload, expiresAt: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
  }

  async find(id) {
    const payload = payloads.get(this.key(id));
    return payload && payload.expiresAt > Date.now() ? payload : undefined;
  }

  async findByUid(uid) {
    return [...payloads.values()].find((payload) => payload.kind === this.model && payload.uid === uid);
  }

  async findByUserCode() { return undefined; }

  async consume(id) { payloads.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { payloads.delete(this.key(id)); }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of payloads) {
      if (key.startsWith(`${this.model}:`) && payload.grantId === grantId) payloads.delete(key);
    }
  }
}
