"""The clearance of the asking transaction, as row-level security reads it: settings that `firewall/rls.py` makes."""

from django.db import migrations

CREATE = r"""
CREATE FUNCTION firewall_setting(name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN current_setting('memoryhub.' || name, true);

-- NULL unless the setting is an array: '' and a missing setting see nothing, '*' is tested for by name.
CREATE FUNCTION firewall_setting_array(name text) RETURNS varchar[]
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN firewall_setting(name) LIKE '{%' THEN firewall_setting(name)::varchar[] END;
"""
DROP = "DROP FUNCTION firewall_setting_array(text); DROP FUNCTION firewall_setting(text);"


class Migration(migrations.Migration):
    dependencies = [("firewall", "0001_tables")]
    operations = [migrations.RunSQL(CREATE, DROP)]
