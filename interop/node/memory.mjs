// Where the provider keeps what it issued: as its own memory, but one that outlives a Provider.

const kept = new Map();

export class Memory {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload, expiresIn) {
    kept.set(this.key(id), { ...payload, endsAt: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
  }

  async find(id) {
    const found = kept.get(this.key(id));
    return found && found.endsAt > Date.now() ? found : undefined;
  }

  async findByUid(uid) { return [...kept.values()].find((payload) => payload.kind === this.model && payload.uid === uid); }

  async findByUserCode() { return undefined; }

  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { kept.delete(this.key(id)); }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of kept) if (key.startsWith(`${this.model}:`) && payload.grantId === grantId) kept.delete(key);
  }
}
