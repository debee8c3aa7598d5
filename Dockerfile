# One image for web, worker and migrate; the target `sandbox` adds the mail catcher and the Stripe-like server.
# There is no embedded PostgreSQL in it: DATABASE_URL names a real one.
FROM python:3.11-slim AS build
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY migrations migrations
COPY invoice_templates invoice_templates
RUN python -m venv /opt/tollgate && /opt/tollgate/bin/pip install --no-cache-dir -c constraints.txt .

FROM build AS build-sandbox
RUN /opt/tollgate/bin/pip install --no-cache-dir -c constraints.txt ".[sandbox]"

FROM python:3.11-slim AS base
RUN useradd --system --uid 10001 --home-dir /var/lib/tollgate --create-home tollgate
ENV PATH=/opt/tollgate/bin:$PATH PYTHONUNBUFFERED=1 TOLLGATE_DATA=/var/lib/tollgate HOST=0.0.0.0 PORT=8000
USER tollgate
WORKDIR /var/lib/tollgate
VOLUME /var/lib/tollgate

FROM base AS sandbox
COPY --from=build-sandbox /opt/tollgate /opt/tollgate
EXPOSE 8025 2525
CMD ["tollgate-sandbox", "--mail-host", "0.0.0.0", "--mail-port", "8025", "--smtp-port", "2525"]

FROM base AS tollgate
COPY --from=build /opt/tollgate /opt/tollgate
EXPOSE 8000
CMD ["tollgate", "serve"]
