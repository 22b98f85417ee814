"""What each filter costs at each route, counted by PostgreSQL itself."""
