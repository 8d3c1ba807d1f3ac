# The image of a node: no compiler, no development packages, no embedded Postgres (it needs DATABASE_URL).
ARG NODE_VERSION=24

FROM node:${NODE_VERSION}-bookworm-slim AS build
WORKDIR /app
# Without scripts: nothing that is installed runs code here, and nothing needs to.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build && rm dist/.tsbuildinfo
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:${NODE_VERSION}-bookworm-slim
# Process 1 has to hand on signals and reap orphans, also while a node is still starting: that is tini's work.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY migrations ./migrations
COPY sql ./sql

ARG COMMIT=""
# A container is reached from outside of it, or not at all: publish its port on 127.0.0.1 where nodes ask for no tokens.
ENV NODE_ENV=production \
  PORT=4000 \
  STARCITE_HOST=0.0.0.0 \
  STARCITE_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="starcite" \
  org.opencontainers.image.description="Durable, ordered, replayable logs for AI sessions, on Postgres" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.revision=${COMMIT}

# The user `node` of the image, as a number, so that Kubernetes can tell that it is not root. It owns no file here.
USER 1000:1000
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
  CMD ["node", "dist/cli/healthcheck.js", "live"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["node", "--enable-source-maps", "dist/main.js"]
